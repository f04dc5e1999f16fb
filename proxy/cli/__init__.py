"""The `cutover` command, one small module for each subcommand: arguments in, one call, exit status out."""
