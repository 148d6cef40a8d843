"""As much of FastAPI as the routes need, where it is not installed."""


class HTTPException(Exception):
    def __init__(self, status_code, detail=""):
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail


def Body(default=None, **_):
    return default


class Response:
    def __init__(self, content=b"", media_type="", headers=None):
        self.content, self.media_type, self.headers = content, media_type, headers
