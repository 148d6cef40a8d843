"""What a WebUI shows of hypernetworks: cards, settings, axes, infotext, API. Built on the host's own parts."""
