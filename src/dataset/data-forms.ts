/** What may be given as a data set, for messages and help. */
export const dataForms = 'a folder in ImageFolder layout or of parquet files, or "mnist"';
