"""Lets `python -m hallo_cli` stand for the `hallo` command."""

from hallo_cli.cli.app import main

if __name__ == "__main__":
    main()
