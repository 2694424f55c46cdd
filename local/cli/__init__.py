"""What can a person do with Crossdock from a shell? One module for each group of commands, each only parsing, calling and showing."""
