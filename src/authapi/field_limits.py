"""What a person's name and number may be: at registration, in an import, on the command line, in the database."""

MAX_NAME_CHARACTERS = 200
FULL_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*$"
MAX_PHONE_CHARACTERS = 32
PHONE_PATTERN = r"^\+?[0-9 ()./-]{3,31}$"
