"""The command line as ``python -m sciimg.cli``."""

from sciimg.cli import main

if __name__ == "__main__":  # not where a spawned process imports it again
    main()
