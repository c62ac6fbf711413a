"""The backend for a fleet of any size: tables in Amazon DynamoDB, without a server to maintain."""

from .config import config_parse
from .db import DB
from .records import schemas

__all__ = ["DB", "config_parse", "schemas"]
