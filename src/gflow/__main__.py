"""`python -m gflow`: the same as `gflow`, for whom its programs are not on the PATH of."""

from gflow.cli.umbrella import main

if __name__ == "__main__":
    main()
