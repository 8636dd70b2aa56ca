"""For authors of components: contract suites to inherit. They need pytest and hypothesis."""
