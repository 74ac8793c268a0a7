/** What may be given as a data set, for messages and help. */
export const dataForms =
  'a folder in ImageFolder layout, of parquet files or of WebDataset tar archives, owner/name on the Hugging Face Hub, or "mnist"';
