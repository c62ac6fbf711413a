"""What has to exist before a store can be used: the tables, and the permissions for each role."""
