"""What `/metrics` says, by where it is known from. Every name begins with `shapbox_`."""
