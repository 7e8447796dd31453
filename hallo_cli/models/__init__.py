"""The networks of Hallo and files of their tensors: no bundle, no progress, no command line."""
