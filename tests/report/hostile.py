"""Strings that want to be more than text."""

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg></title><b>bold</b>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png)",
    "| broken | table |\n# heading\n\n- list\n1. one\n> quote\n```\ncode",
    "*emphasis* _under_ `code` ~~strike~~ **strong** $x^2$ $$y$$",
    "<https://evil.example> https://evil.example www.evil.example me@evil.example @somebody #12",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "{{ 7 * 7 }} {% raw %} {# comment #}",
    "right \u202e to left \u2066 and \ud800 a surrogate \x00\x1b[31m",
    "1. not a list",
    "- not a list",
    "=== not a heading",
    "    not code",
    "\\",
)
