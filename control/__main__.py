"""`python -m control` is the same as the `control` command."""

from control.cli import main

if __name__ == "__main__":
    main()
