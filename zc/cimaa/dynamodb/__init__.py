"""The store for a fleet of any size: three tables in Amazon DynamoDB, and no server to look after."""

from .config import config_parse
from .db import DB
from .records import schemas

__all__ = ["DB", "config_parse", "schemas"]
