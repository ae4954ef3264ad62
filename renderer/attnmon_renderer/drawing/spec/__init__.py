"""What is drawn, as inert data: the data of each figure, and the page that shows it."""
