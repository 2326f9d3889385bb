"""From passages to an answer whose every sentence says where it is from."""
