"""The command line. `dispatch` finds the command; each command is a module of its own."""
