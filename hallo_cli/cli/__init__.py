"""Arguments, progress and exit codes; imports everything, imported by nobody."""
