"""Every SELECT, INSERT, UPDATE and DELETE, one module a table; they flush and never commit."""
