"""The command line. `dispatch` finds the command; commands are modules, or share one."""
