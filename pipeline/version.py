"""Which version of Ordermill this code is: the one place that says so."""

VERSION = "0.2.0"
