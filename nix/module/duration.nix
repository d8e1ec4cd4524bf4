# Seconds of a duration as policies write it: "5d", "2h 4m", "30s" or whole seconds. Null for what is none; `conntidy
# check` says what is wrong with it.
let
  seconds = {
    s = 1;
    m = 60;
    h = 3600;
    d = 86400;
    w = 604800;
  };

  number = digits: builtins.fromJSON (builtins.head (builtins.match "0*([0-9]+)" digits));

  terms =
    text:
    let
      parts = builtins.match " *([0-9]+) *([smhdw]) *(.*)" text;
      rest = terms (builtins.elemAt parts 2);
    in
    if text == "" then
      0
    else if parts == null || rest == null then
      null
    else
      number (builtins.head parts) * seconds.${builtins.elemAt parts 1} + rest;
in
value:
if builtins.isInt value then
  value
else if !builtins.isString value || value == "" then
  null
else if builtins.match "[0-9]+" value != null then
  number value
else
  terms value
