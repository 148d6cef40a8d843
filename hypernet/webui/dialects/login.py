"""The login of gradio's page, for routes that the page itself asks."""

from __future__ import annotations

from fastapi import HTTPException, Request


def logged_in(request: Request) -> None:
    """Lets through whom gradio shows its page: without a login anybody, with one who has its cookie.

    Raises HTTPException.
    """
    app = request.app
    if getattr(app, "auth", None) is None and getattr(app, "auth_dependency", None) is None:
        return
    suffix = f"-{app.cookie_id}" if hasattr(app, "cookie_id") else ""  # since gradio 4
    cookies = (f"access-token{suffix}", f"access-token-unsecure{suffix}")
    if not any(request.cookies.get(cookie) in app.tokens for cookie in cookies):
        raise HTTPException(status_code=401, detail="Log in first.")
