"""As much of FastAPI as the routes need, where it is not installed."""


class HTTPException(Exception):
    def __init__(self, status_code, detail=""):
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail
