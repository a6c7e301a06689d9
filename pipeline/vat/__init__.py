"""VAT ids: what the VIES service of the European Commission says of them."""

#: The Commission's own address.
PUBLIC = "https://ec.europa.eu/taxation_customs/vies/rest-api"
