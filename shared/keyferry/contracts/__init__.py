"""What services say to each other. Start here: `topology` maps every subject to its message, speakers and hearers."""
