"""The command line: arguments in, tables and messages out, and no logic.

`commands.py` knows every command and runs it; each of the other modules holds a group of commands,
as functions whose parameters are the command's options.
"""
