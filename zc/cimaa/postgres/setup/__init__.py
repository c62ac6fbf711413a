"""What setup-postgres does: the tables, their versions, and the roles that use them."""
