"""The route class of every JSON route: the limit is spent first, then the body is read strictly."""

from authapi.rate_limit import LimitedRoute
from authapi.strict_json import StrictJsonRoute


class ApiRoute(LimitedRoute, StrictJsonRoute):
    """Base classes on the left act first."""
