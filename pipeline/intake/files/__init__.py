"""Orders, products and stock from files: streamed, with one verdict for each and a line for each fault."""
