"""People sign in: an OpenID provider or the built-in login, sessions, cookies, and what guards them."""
