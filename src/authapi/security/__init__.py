"""The careful zone: passwords, tokens and keys; no HTTP, no SQL, no settings, values come in as arguments."""
