"""The metrics of `/metrics`, by their source. Every name begins with `shapbox_`."""
