"""The public search for users who chose to be discoverable."""
