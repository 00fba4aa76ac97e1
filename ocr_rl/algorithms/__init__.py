"""What `algorithm = ...` names, one file or folder each."""
