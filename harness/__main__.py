"""`python -m harness` is the command line."""

from harness.untrusted.own_python import leave_folder

leave_folder()

from harness.cli import main  # noqa: E402 (what it imports is looked for without the folder that we stand in)

if __name__ == "__main__":
    main()
