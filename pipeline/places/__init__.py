"""Countries, regions, postal codes and territories, known however people write them."""
