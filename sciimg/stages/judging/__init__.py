"""What is asked of one synthetic collection, part by part: the study's words into calls of those who measure."""
