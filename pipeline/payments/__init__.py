"""Taking and giving back money: what a gateway must do for us, and the gateways there are."""
