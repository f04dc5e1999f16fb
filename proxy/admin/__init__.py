"""The admin port: health, figures and explanations for operators, and the two changes they may make."""
