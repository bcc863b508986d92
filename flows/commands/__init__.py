"""What the command line does, one module a command; `flows.main` names them."""
