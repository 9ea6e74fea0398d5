"""What would be so if data did not say most about what is shown and sold most."""
