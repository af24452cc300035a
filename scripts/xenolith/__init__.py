"""The one command at the root of the repository: run, test, build, bench."""
