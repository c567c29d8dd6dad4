"""`python -m evanesce`: the command line."""

from evanesce.cli import main

if __name__ == "__main__":
    main()
