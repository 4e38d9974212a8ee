"""
The ``concmem`` command: one file per subcommand, each imported only when it is used.

A module of this package without a leading underscore is a subcommand. Its click command has the module's name. Nothing
is imported here, because ``concmem run`` can do without click (`concmem.cli._quick`).
"""
