"""What programs call. A file a resource."""
