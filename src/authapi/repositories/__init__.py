"""Every SELECT, INSERT, UPDATE and DELETE; they flush and never commit."""
