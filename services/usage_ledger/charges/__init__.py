"""What follows from charges: free requests, the platform's margin, and corrections of wrong prices."""
