"""`python -m chatpipe`: the same program as the `chatpipe` script."""

from chatpipe.main import main

if __name__ == "__main__":
    main()
