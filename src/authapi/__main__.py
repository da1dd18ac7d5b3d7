"""`python -m authapi` is the `authapi` command."""

from authapi.cli import main

if __name__ == "__main__":
    main()
